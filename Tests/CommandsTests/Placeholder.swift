// A room in the making.
