"""The arguments of the longer commands, as typed; apart from the commands, since the code that they call uses them."""
