"""Say one thing in the lobby: python say.py URL TEXT"""

import sys
from uuid import uuid4

from openapi.client.sync import connect

_, url, text = sys.argv
with connect(url) as client:
    said = client.call("say", {"text": text, "key": uuid4().hex}, idempotent=True)
    print(f"{said['name']}: {said['text']}")
