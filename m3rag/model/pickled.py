"""Describe the pickle of a state dict without running it.

torch's restricted unpickler runs no foreign code, but it still obeys a pickle: one that is 200
bytes long can make it allocate 100 GB, for example by expanding one number to a huge tensor. So
m3rag follows the pickle first, with descriptions in place of tensors, and refuses all that a saved
state dict does not need.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

from m3rag.model.modelfiles import shortened


class PickleError(ValueError):
    """A pickle is not that of a state dict of tensors."""


class TensorInfo(NamedTuple):
    """What a file says about a tensor."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """The bytes of its values; 0 if it is of a kind that m3rag never loads."""
        return math.prod(self.shape) * ITEM_BYTES.get(self.dtype, 0)


class Storage(NamedTuple):
    """The memory that tensors are in: a record of the file."""

    dtype: str
    key: str
    numel: int

    @property
    def nbytes(self) -> int:
        """The bytes of its numbers."""
        return self.numel * ITEM_BYTES[self.dtype]


@dataclass(frozen=True, slots=True)
class Name:
    """A global that the pickle names; it is never imported."""

    name: str


class Ordered(dict[Any, Any]):
    """Stands for an OrderedDict."""


ITEM_BYTES = {
    **dict.fromkeys(("bool", "uint8", "int8", "qint8", "quint8"), 1),
    **dict.fromkeys(("float8_e4m3fn", "float8_e5m2"), 1),
    **dict.fromkeys(("float16", "bfloat16", "int16"), 2),
    **dict.fromkeys(("float32", "int32", "qint32"), 4),
    **dict.fromkeys(("float64", "int64", "complex64"), 8),
    "complex128": 16,
}
"""The bytes of a number of each dtype that a storage can have. Only floats can be weights."""

_STORAGES = {
    "torch DoubleStorage": "float64",
    "torch FloatStorage": "float32",
    "torch HalfStorage": "float16",
    "torch BFloat16Storage": "bfloat16",
    "torch LongStorage": "int64",
    "torch IntStorage": "int32",
    "torch ShortStorage": "int16",
    "torch CharStorage": "int8",
    "torch ByteStorage": "uint8",
    "torch BoolStorage": "bool",
    "torch ComplexFloatStorage": "complex64",
    "torch ComplexDoubleStorage": "complex128",
    "torch QInt8Storage": "qint8",
    "torch QUInt8Storage": "quint8",
    "torch QInt32Storage": "qint32",
    "torch.storage UntypedStorage": "uint8",
}
# Tensors that m3rag refuses; they are described, so that the message can name them.
_ODD = {
    "torch._utils _rebuild_qtensor": "quantized",
    "torch._utils _rebuild_sparse_tensor": "sparse",
    "torch._utils _rebuild_meta_tensor_no_storage": "meta, without values",
    "torch._utils _rebuild_nested_tensor": "nested",
    "torch._utils _rebuild_wrapper_subclass": "of a subclass",
    "torch._tensor _rebuild_from_type_v2": "of a subclass",
    "torch._utils _rebuild_parameter_with_state": "with attributes",
    "torch.serialization _get_layout": "sparse",
    "torch Size": "a size",
    "torch device": "a device",
}
_ORDERED = "collections OrderedDict"
_TENSOR = "torch._utils _rebuild_tensor_v2"
_TENSOR_OF_DTYPE = "torch._utils _rebuild_tensor_v3"
_PARAMETER = "torch._utils _rebuild_parameter"
_KNOWN = {_ORDERED, _TENSOR, _TENSOR_OF_DTYPE, _PARAMETER, *_STORAGES, *_ODD}
_PUSHED = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_VALUES = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE")
_MAX_DEPTH = 64  # open MARKs
_MAX_DIMENSIONS = 32  # numbers of a tensor's offset, shape and stride together


class Description:
    """The values that a pickle builds; used for one file."""

    def __init__(self) -> None:
        self.storages: dict[str, Storage] = {}
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._steps: dict[str, Callable[[], None]] = {
            "MARK": self._mark,
            "TUPLE": lambda: self._push(tuple(self._since_mark())),
            "TUPLE1": lambda: self._push(tuple(self._take(1))),
            "TUPLE2": lambda: self._push(tuple(self._take(2))),
            "TUPLE3": lambda: self._push(tuple(self._take(3))),
            "EMPTY_DICT": lambda: self._push({}),
            "EMPTY_LIST": lambda: self._push([]),
            "APPEND": lambda: self._append(self._take(1)),
            "APPENDS": lambda: self._append(self._since_mark()),
            "SETITEM": lambda: self._set(self._take(2)),
            "SETITEMS": lambda: self._set(self._since_mark()),
            "REDUCE": self._reduce,
            "BUILD": self._build,
            "BINPERSID": self._persistent,
        }

    def value(self, file: IO[bytes]) -> Any:
        """Return the value of the pickle at the file's position.

        Raises:
            PickleError: It is damaged, or has something that a state dict does not need.
        """
        self._stack, self._marks, self._memo = [], [], {}
        try:
            for operation, argument, _ in pickletools.genops(file):
                if operation.name == "STOP":
                    [value] = self._take(1)
                    return value
                self._step(operation.name, argument)
        except (IndexError, KeyError, TypeError, UnicodeError) as error:
            raise PickleError(f"its pickle is damaged ({type(error).__name__})") from error
        except ValueError as error:
            raise PickleError(str(error)) from error
        raise PickleError("its pickle has no end")

    def _step(self, name: str, argument: Any) -> None:
        if name in self._steps:
            self._steps[name]()
        elif name in _PUSHED:
            self._push(_PUSHED[name])
        elif name in _VALUES:
            self._push(argument)
        elif name in ("BINGET", "LONG_BINGET"):
            self._push(self._memo[argument])
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._stack[-1]
        elif name == "GLOBAL":
            self._push(_named(argument))
        elif name != "PROTO" or argument != 2:
            raise PickleError(
                f"its pickle has the operation {name} {shortened(argument)}, which torch.save does "
                "not write"
            )

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _take(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise PickleError("its pickle is damaged")
        taken = self._stack[-count:]
        del self._stack[-count:]
        return taken

    def _mark(self) -> None:
        if len(self._marks) >= _MAX_DEPTH:
            raise PickleError("its pickle nests too deeply")
        self._marks.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        taken, self._stack = self._stack, self._marks.pop()
        return taken

    def _append(self, items: list[Any]) -> None:
        if type(self._stack[-1]) is not list:
            raise PickleError("its pickle appends to what is not a list")
        self._stack[-1].extend(items)

    def _set(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) not in (dict, Ordered) or len(items) % 2:
            raise PickleError("its pickle sets items of what is not a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is not str:  # hashing a nested tuple can take forever
                raise PickleError("it has a name that is not a string")
            target[key] = value

    def _build(self) -> None:
        target, state = self._stack[-2], self._take(1)[0]
        if type(target) is not Ordered or type(state) is not dict:
            raise PickleError("its pickle sets the state of a value that has none")

    def _reduce(self) -> None:
        function, arguments = self._take(2)
        if type(function) is not Name or type(arguments) is not tuple:
            raise PickleError("its pickle calls what is not a function")
        if function.name == _ORDERED and arguments == ():
            self._push(Ordered())
        elif function.name == _TENSOR:
            self._push(_tensor(*arguments))
        elif function.name == _TENSOR_OF_DTYPE and len(arguments) == 7:
            self._push(_tensor(*arguments[:6], dtype=arguments[6]))
        elif function.name == _PARAMETER and len(arguments) == 3:
            if type(arguments[0]) is not TensorInfo or type(arguments[2]) is not Ordered:
                raise PickleError("it has a parameter that is not a tensor")
            self._push(arguments[0])
        elif function.name in _ODD:
            self._push(TensorInfo(_ODD[function.name], ()))
        else:
            raise PickleError(f"its pickle calls {shortened(function.name)}")

    def _persistent(self) -> None:
        [pid] = self._take(1)
        # A sixth value describes a view, in files of torch 0.3; it is None since then.
        if type(pid) is not tuple or len(pid) not in (5, 6) or pid[5:] not in ((), (None,)):
            raise PickleError("it has a storage that m3rag cannot read")
        kind, storage_type, key, _, numel = pid[:5]
        if kind != "storage" or type(storage_type) is not Name or type(key) is not str:
            raise PickleError("it has a storage that m3rag cannot read")
        if storage_type.name not in _STORAGES:
            raise PickleError(f"it has a storage of the type {shortened(storage_type.name)}")
        dtype = _STORAGES[storage_type.name]
        if type(numel) is not int or not 0 <= numel < 1 << 60:
            raise PickleError(f"it has a storage of {shortened(numel)} numbers")
        storage = Storage(dtype, key, numel)
        if self.storages.setdefault(key, storage) != storage:
            raise PickleError(f"it describes the storage {shortened(key)} in two ways")
        self._push(storage)


def tensors(value: Any) -> Iterator[tuple[str, TensorInfo]]:
    """Yield the names and descriptions of a state dict; anything else is a `PickleError`."""
    if type(value) not in (dict, Ordered):
        raise PickleError("it is not a state dict of tensors")
    for name, tensor in value.items():
        if type(tensor) is not TensorInfo:
            raise PickleError(f"it is not a state dict of tensors: {shortened(name)} is another")
        yield name, tensor


def _named(argument: str) -> Name:
    if argument in _KNOWN:
        return Name(argument)
    module, _, name = argument.partition(" ")
    if module == "torch" and name.isidentifier() and name.islower():  # torch.float8_e4m3fn
        return Name(name)
    raise PickleError(f"its pickle names {shortened(argument.replace(' ', '.'))}, which is unsafe")


def _tensor(
    storage: Any,
    offset: Any,
    shape: Any,
    stride: Any,
    _grad: Any,
    hooks: Any,
    *,
    dtype: Name | None = None,
) -> TensorInfo:
    """Return the description of a tensor that lies within its storage.

    With a `dtype`, the storage consists of bytes.
    """
    numbers = (offset, *shape, *stride)
    sound = len(numbers) <= _MAX_DIMENSIONS and all(
        type(number) is int and 0 <= number < 1 << 60 for number in numbers
    )
    if type(storage) is not Storage or not sound or len(shape) != len(stride):
        raise PickleError("it has a tensor with an impossible shape")
    if type(hooks) not in (type(None), Ordered):
        raise PickleError("it has a tensor with hooks")
    name = storage.dtype if dtype is None else dtype.name
    numel = storage.numel if dtype is None else storage.nbytes // ITEM_BYTES.get(name, 1)
    last = sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if math.prod(shape) and offset + last >= numel:
        raise PickleError(
            f"it has a tensor of shape {shortened(shape)} that goes beyond its {numel:,} numbers"
        )
    return TensorInfo(name, tuple(shape))
