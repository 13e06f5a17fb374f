"""Typed clients of endpoints: from what an application declares to the text of a file.

    python([endpoint], origin="openapi types shop:app --python shop_client.py")
    typescript([endpoint], origin="openapi types shop:app --typescript shop.ts")

Everything here is pure: an :class:`Endpoint` goes in, text comes out, the same each time.

=============== ==========================================================================
``endpoint``    what an endpoint has: its methods, and what its channels promise
``surface``     the same with its types as outlines
``directions``  which types a client sends, which it receives, and which are two therefore
``naming``      what the types are called, and the classes; ``names`` makes names of words
``ordered``     the types in the order in which they are built on each other
``python``      the file in Python
``typescript``  the file in TypeScript
=============== ==========================================================================
"""

from openapi.types.endpoint import Channels, Endpoint
from openapi.types.python import python
from openapi.types.typescript import typescript

__all__ = ["Channels", "Endpoint", "python", "typescript"]
