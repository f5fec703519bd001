"""A reader of feeds: fetches the address that it is given as other readers would, and tells what it understood."""

import json
import sys

import feedparser

address, tag = sys.argv[1:3]
feed = feedparser.parse(address, etag=tag or None)
entries = [
    {
        "id": entry.id,
        "title": entry.title,
        "summary": entry.get("summary"),
        "tags": [tag.term for tag in entry.get("tags", [])],
        "links": {link.rel: link.href for link in entry.links},
        "updated": entry.updated_parsed is not None,
    }
    for entry in feed.entries
]
told = {
    "status": feed.status,
    "bozo": bool(feed.bozo),
    "why": str(feed.get("bozo_exception", "")),
    "version": feed.version,
    "etag": feed.get("etag"),
    "id": feed.feed.get("id"),
    "updated": feed.feed.get("updated_parsed") is not None,
    "entries": entries,
}
print(json.dumps(told))
