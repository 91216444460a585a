"""Programs of which the first thread is not the one that matters."""

from __future__ import annotations

import socket
import sys

from reliability.programs.cases import Line, Place, hangs, looks_so, silent_server

DEADLOCK = """
public class Deadlock {
    static final Object cash = new Object(), goods = new Object();
    static void take(Object first, Object second) {
        synchronized (first) {
            try { Thread.sleep(300); } catch (InterruptedException e) {}
            synchronized (second) { }
        }
    }
    public static void main(String[] words) {
        new Thread(() -> take(cash, goods), "buyer").start();
        take(goods, cash);
    }
}
"""
CHILD = """
public class Child {
    public static void main(String[] words) throws Exception {
        Process child = new ProcessBuilder("sh", "-c", "yes; :").start();
        child.waitFor();
    }
}
"""
SLEEPS = """
public class Sleeps {
    public static void main(String[] words) throws Exception { Thread.sleep(1000000); }
}
"""
JAVA = ["java", "-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]


@hangs(
    "java: a deadlock",
    "java",
    "javac",
    "jcmd",
    says=r"java has 2 threads, .buyer. and .main., that wait for each other's locks",
    any_health=True,
)
def java_deadlock(place: Place) -> Line:
    return [*JAVA, str(place.write("Deadlock.java", DEADLOCK))]


@hangs(
    "java: does not read its child",
    "java",
    "javac",
    says=r"java sleeps and does not read .*; yes waits for it",
)
def java_child(place: Place) -> Line:
    return [*JAVA, str(place.write("Child.java", CHILD))]


@looks_so("java: sleeps", "java", "javac")
def java_sleeps(place: Place) -> Line:
    return [*JAVA, str(place.write("Sleeps.java", SLEEPS))]


@hangs("dig: a silent server", "dig", says=r"dig waits for (data|an answer) .*127\.0\.0\.1:\d+")
def dig_silent(place: Place) -> Line:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    place.afterwards(server.close)
    return ["dig", "@127.0.0.1", "-p", str(server.getsockname()[1]), "+time=3600", "+tries=1", "example.test"]


@hangs("dig: a silent server, by tcp", "dig", says=r"dig waits for (data|an answer) .*127\.0\.0\.1:\d+")
def dig_tcp(place: Place) -> Line:
    port = silent_server(place)
    return [
        "dig",
        "@127.0.0.1",
        "-p",
        str(port),
        "+tcp",
        "+time=3600",
        "+tries=1",
        "example.test",
    ]


@hangs("node: a silent server", "node", says=r"node waits for data from .*127\.0\.0\.1:\d+")
def node_silent(place: Place) -> Line:
    port = silent_server(place)
    return ["node", "-e", f"require('http').get('http://127.0.0.1:{port}/')"]


@looks_so("node: a timer", "node")
def node_timer(place: Place) -> Line:
    return ["node", "-e", "setTimeout(() => {}, 1e6)"]


@looks_so("node: a server", "node")
def node_server(place: Place) -> Line:
    return ["node", "-e", "require('http').createServer().listen(0, '127.0.0.1')"]


@hangs("python: threads and a lock", says=r"python.* has 2 threads that all wait for each other")
def python_threads(place: Place) -> Line:
    script = (
        "import threading, time\na, b = threading.Lock(), threading.Lock()\n"
        "def take(x, y):\n    with x:\n        time.sleep(0.3)\n        with y: pass\n"
        "threading.Thread(target=take, args=(a, b)).start()\ntake(b, a)"
    )
    return [sys.executable, "-c", script]


COPROCESS = """
public class Coprocess {
    public static void main(String[] words) throws Exception {
        new ProcessBuilder("cat").start();
        Thread.sleep(1000000);
    }
}
"""


@looks_so("java: sleeps beside an idle child", "java", "javac")
def java_coprocess(place: Place) -> Line:
    return [*JAVA, str(place.write("Coprocess.java", COPROCESS))]
