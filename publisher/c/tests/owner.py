"""Holds the ring of an exact name, with one dot in it, until it is killed or its input ends."""

import sys

from dotter import Publisher

publisher = Publisher.create(sys.argv[1], 1)
publisher.series("owner").dot(1.0)
print("ready", flush=True)
sys.stdin.read()
