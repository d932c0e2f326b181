"""Names for annotations of scripted functions."""

from typing import Any, Optional, Union  # noqa: F401 (names that are taken from here)

Dict, List, Tuple = dict, list, tuple


class BroadcastingListCls:
    """A list, or a number that stands for as many: what it is a list of goes in brackets."""

    def __getitem__(self, types):
        return None


BroadcastingList1 = BroadcastingList2 = BroadcastingList3 = BroadcastingListCls()
BroadcastingList4 = BroadcastingList5 = BroadcastingList6 = BroadcastingList1
