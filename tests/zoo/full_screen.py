"""Draws the whole screen (curses): its size, the keys it got, a coloured bar. Ends at q with 7, or after 60 s."""

import curses
import signal
import sys

signal.alarm(60)


def draw(screen, keys):
    rows, columns = screen.getmaxyx()
    screen.erase()
    screen.addstr(0, 0, f"size {columns}x{rows}", curses.A_REVERSE)
    screen.addstr(1, 0, f"keys {keys}")
    screen.addstr(rows - 1, 0, "the last line")
    screen.refresh()


def main(screen):
    curses.curs_set(0)
    curses.raw()
    keys = ""
    while True:
        draw(screen, keys)
        key = screen.getch()
        if key == curses.KEY_RESIZE:
            curses.update_lines_cols()
        elif key == ord("q"):
            return
        elif key == 3:
            keys += "^C"
        elif 0 < key < 128:
            keys += chr(key)


curses.wrapper(main)
sys.exit(7)
