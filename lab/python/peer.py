"""Starts the released Python program on today's Python, from outside and unpatched.

    peer.py client LOCALPORT
    peer.py server LOCALPORT P2PPORT CERTFILE HOST PORT TITLE
    peer.py browse

Prints "ready NAME" when its ports are listened at; NAME is the service's (TEXT-KEYHASH), or "-" for a client.
Browsing prints "found HASH TITLE" for each service that answers, until it is ended.
"""

import collections
import collections.abc
import os
import re
import sys
import threading
import time

# The later release still uses the name that Python 3.10 took away.
collections.MutableMapping = collections.abc.MutableMapping

import hardline

# Later releases read this file themselves; the first has its proxies in the code.
SETTINGS = os.path.expanduser("~/.hardlinep2p/settings.toml")
if hasattr(hardline, "DHT_PROXIES") and os.path.exists(SETTINGS):
    with open(SETTINGS) as settings:
        hardline.DHT_PROXIES[:] = re.findall('"(http[^"]*)"', settings.read())


def is_listening(port):
    """Looks at the kernel's table, because a probing connection would be one more client."""
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    return any(row[3] == "0A" and int(row[1].split(":")[1], 16) == port for row in rows)


def say_when_ready(ports, name):
    while not all(is_listening(port) for port in ports):
        time.sleep(0.02)
    print("ready", name, flush=True)


def make_service(p2p_port, certfile, host, port, title):
    if hasattr(hardline, "setP2PPort"):
        hardline.setP2PPort(p2p_port)
    else:
        hardline.P2P_PORT = p2p_port
    return hardline.Service(certfile, host, port, {"title": title})


def browse():
    found = set()
    while True:
        hardline.discoveryPeer.search("")
        time.sleep(0.2)
        for service in hardline.getAllDiscoveries():
            if service["hash"] not in found:
                found.add(service["hash"])
                print("found", service["hash"], service["title"], flush=True)


def main():
    if sys.argv[1] == "browse":
        browse()
    role, local_port, *rest = sys.argv[1:]
    ports, name = [int(local_port)], "-"
    if role == "server":
        p2p_port, certfile, host, port, title = rest
        # Kept in a variable: the program itself holds services by weak references only.
        service = make_service(int(p2p_port), certfile, host, int(port), title)
        ports.append(int(p2p_port))
        name = service.password + "-" + service.keyhash.hex()
    threading.Thread(target=say_when_ready, args=(ports, name), daemon=True).start()
    hardline.start(int(local_port))


main()
