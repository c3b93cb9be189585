"""One module a network family: checkpoint -> graphs -> bundle."""
