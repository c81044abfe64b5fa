"""Announces one DNS-SD instance with python-zeroconf, a responder that shares no code with Avahi.

Reads one JSON object from its first argument; says "registered" once announced; SIGTERM makes it say
goodbye and end.
"""
import json
import signal
import socket
import sys
import threading

from zeroconf import IPVersion, ServiceInfo, Zeroconf

options = json.loads(sys.argv[1])
ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ended.set())


def packed(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


kind = options["type"] + ".local."
responder = Zeroconf(interfaces=options["interfaces"], ip_version=IPVersion.V4Only)
info = ServiceInfo(
    kind,
    options["name"] + "." + kind,
    port=options["port"],
    properties=options["txt"],
    server=options["host"] + ".local.",
    addresses=[packed(each) for each in options["addresses"]],
    host_ttl=options["hostTtl"],
    other_ttl=options["otherTtl"],
)
responder.register_service(info)
print("registered", flush=True)
while not ended.wait(1):
    pass
responder.unregister_service(info)
responder.close()
