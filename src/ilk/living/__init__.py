"""A saved classifier goes on living: it gets classes, follows a changed world, finds new kinds."""
