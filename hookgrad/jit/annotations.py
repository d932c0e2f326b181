"""Names for annotations of scripted functions."""


class BroadcastingListCls:
    """A list, or a number that stands for as many: what it is a list of goes in brackets."""

    def __getitem__(self, types):
        return None


BroadcastingList1 = BroadcastingList2 = BroadcastingList3 = BroadcastingListCls()
BroadcastingList4 = BroadcastingList5 = BroadcastingList6 = BroadcastingList1
