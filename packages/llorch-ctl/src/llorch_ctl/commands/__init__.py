"""One module per noun; each parses its options, makes a call and shows the answer."""
