"""What a project may have at once, store, train and ask for: set by administrators, held where it is used."""
