"""What the longer commands take, as it was typed. Apart from the commands, so that what they call knows it too."""
