"""The names of `m3rag.stores.filters`, where 0.1 had them."""

from m3rag.extras import lazy

__getattr__ = lazy(
    __name__,
    {
        "And": "m3rag.stores.filters",
        "Equals": "m3rag.stores.filters",
        "Filter": "m3rag.stores.filters",
        "In": "m3rag.stores.filters",
        "Not": "m3rag.stores.filters",
        "Or": "m3rag.stores.filters",
        "Range": "m3rag.stores.filters",
        "filter_to_dict": "m3rag.stores.filters",
        "matches": "m3rag.stores.filters",
        "parse_filter": "m3rag.stores.filters",
    },
)
