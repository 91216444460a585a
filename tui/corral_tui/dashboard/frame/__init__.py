"""What all screens have: actions, keys, footer, themes, the terminal's driver."""
