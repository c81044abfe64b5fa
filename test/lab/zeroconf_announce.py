"""Announces one DNS-SD instance with python-zeroconf, a responder that shares no code with Avahi.

Reads one JSON object from its second argument; says "registered" once announced. SIGHUP makes it
announce what the file named by its first argument says instead, an object with the same keys as far
as they change, and say "updated"; SIGTERM makes it say goodbye and end.
"""
import json
import signal
import socket
import sys
import threading

from zeroconf import IPVersion, ServiceInfo, Zeroconf

options = json.loads(sys.argv[2])
ended = threading.Event()
update = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ended.set())
signal.signal(signal.SIGHUP, lambda *_: update.set())


def packed(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def described():
    kind = options["type"] + ".local."
    return ServiceInfo(
        kind,
        options["name"] + "." + kind,
        port=options["port"],
        properties=options["txt"],
        server=options["host"] + ".local.",
        addresses=[packed(each) for each in options["addresses"]],
        host_ttl=options["hostTtl"],
        other_ttl=options["otherTtl"],
    )


responder = Zeroconf(interfaces=options["interfaces"], ip_version=IPVersion.V4Only)
info = described()
responder.register_service(info, allow_name_change=True)
print("registered", info.name, flush=True)
while not ended.wait(0.1):
    if not update.is_set():
        continue
    update.clear()
    with open(sys.argv[1]) as file:
        options.update(json.load(file))
    info = described()
    responder.update_service(info)
    print("updated", flush=True)
responder.unregister_service(info)
responder.close()
