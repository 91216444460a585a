"""Writes what harms a careless screen: control sequences, a title, a bell, markup, bytes that are no text. Then exits."""

import os

HOSTILE = (
    b"\x1b[31mred\x1b[0m and plain\n",
    b"\x1b[2J\x1b[H\x1b[?1049h\x1b[?25l\x1b[10;10Hmoved\n",
    b"\x1b]0;a title\x07\x1b]52;c;aGk=\x1b\\clipboard\n",
    b"\x1bPq#0;2;0;0;0\x1b\\ \x9b31m eight bit \x1bc reset\n",
    b"[/] [INFO] [bold red]markup[/bold red] [link=x]y[/link]\n",
    b"bell \x07 back\x08space \x00 nul tab\there\n",
    b"progress 10%\rprogress 20%\rprogress 100%\n",
    b"\xff\xfe no text \xc3\x28\n",
    "right to left \u202e gnp.exe\u2069 zero\u200bwidth \U0001f469\u200d\U0001f680\n".encode(),
    b"an unfinished sequence at the end \x1b[38;5;",
)
print("ready", flush=True)
for line in HOSTILE:
    os.write(1, line)
os.write(2, b"\x1b[5A[/] on stderr\n")
