"""The hot paths do what is counted: each is gone a few times, in no time that anybody looks at."""

import pytest

from bench.paths import PATHS


@pytest.mark.parametrize("name", PATHS)
async def test_a_path_can_be_gone_again_and_again(name: str) -> None:
    step = await PATHS[name].prepare()
    for _ in range(3):
        await step()
