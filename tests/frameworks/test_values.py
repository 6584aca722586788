"""Attributes that are refused stay as they were."""

import pytest

from m3rag.errors import InputError
from m3rag.frameworks import assign


class Doubled:
    """A component with a property that assigns before it refuses."""

    def __init__(self):
        self._number, self.most = 1, 10

    @property
    def number(self):
        return self._number

    @number.setter
    def number(self, number):
        self._number = number
        self.double = 2 * int(number)

    def _check(self):
        if self.double > self.most:
            raise InputError("too large")


def test_an_attribute_is_taken_back_whatever_refuses_it():
    component = Doubled()
    for value, error in (("x", ValueError), (6, InputError)):
        with pytest.raises(error):
            assign(component, "number", value, lambda *new: setattr(component, *new))
        assert (component.number, component.double) == (1, 2)
    assign(component, "number", 5, lambda *new: setattr(component, *new))
    assert component.number == 5
