"""Runs what the README says, with whatever `hybridrelay` is installed."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def main() -> None:
    """Says nothing unless something is wrong."""
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {"__name__": "__main__"}
    with contextlib.redirect_stdout(io.StringIO()) as said:
        for block in blocks:
            exec(compile(block, str(README), "exec"), names)
    assert said.getvalue() == "hello b'hello'\n201 7 of /apples\n", said.getvalue()
    import hybridrelay

    with hybridrelay.LocalRelay() as relay:
        cs = relay.connection_string("blocking")
        from hybridrelay import sync

        def handler(incoming: sync.Incoming) -> None:
            assert isinstance(incoming, sync.IncomingConnect)
            with incoming.accept() as connection:
                for message in connection:
                    connection.send(message)
            listener.close()

        import threading

        with sync.listen(cs) as listener:
            serving = threading.Thread(target=listener.serve, args=(handler,))
            serving.start()
            assert names["send_blocking"](cs) == "hello"  # type: ignore[operator]
            serving.join()
    print(f"{hybridrelay.__version__} from {Path(hybridrelay.__file__).parent}")


main()
