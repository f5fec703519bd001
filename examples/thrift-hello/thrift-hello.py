"""Thrift without an open port: ``thrift-hello.py listen`` in one place, ``thrift-hello.py say NAME...`` in any other. All names go over one
connection, as calls of ``service Greeter { string greet(1: string name) }``. Needs ``pip install thrift``.

A transport of Thrift's is all that it takes. What the compiler generates for a service stands on it unchanged.
"""

import contextlib
import sys

from hybridrelay import sync
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.Thrift import TApplicationException, TMessageType, TProcessor, TType
from thrift.transport.TTransport import TTransportBase, TTransportException


class Relayed(TTransportBase):
    """A relayed connection as a transport of Thrift's."""

    def __init__(self, connection: sync.Connection) -> None:
        self._reader, self._writer = connection.into_streams()

    def isOpen(self) -> bool:
        return not self._reader.closed

    def read(self, size: int) -> bytes:
        # What is there already, and not all of it: the other side may wait for an answer before it says more.
        data = self._reader.read1(size)
        if not data:
            raise TTransportException(TTransportException.END_OF_FILE, "the other side has ended the connection")
        return data

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    def flush(self) -> None:
        # One call, or one answer, travels as a whole.
        self._writer.flush()

    def close(self) -> None:
        # Our direction first: then it is an end in good order for the other side.
        self._writer.close()
        self._reader.close()


def protocol(connection: sync.Connection) -> TBinaryProtocol:
    # Whoever may send to the listener may send anything: a limit for what it says is the length of a name.
    return TBinaryProtocol(Relayed(connection), string_length_limit=2**20)


def write_text(out: TBinaryProtocol, field: int, text: str) -> None:
    """A struct with one field of text. The compiler generates one class for the arguments of each call, and one for its results."""
    out.writeStructBegin("")
    out.writeFieldBegin("", TType.STRING, field)
    out.writeString(text)
    out.writeFieldEnd()
    out.writeFieldStop()
    out.writeStructEnd()


def read_text(come: TBinaryProtocol, field: int) -> str:
    text = ""
    come.readStructBegin()
    while (found := come.readFieldBegin())[1] != TType.STOP:
        if found[1:] == (TType.STRING, field):
            text = come.readString()
        else:
            come.skip(found[1])
        come.readFieldEnd()
    come.readStructEnd()
    return text


class Processor(TProcessor):
    """Answers calls, as the generated ``Greeter.Processor``."""

    def process(self, come: TBinaryProtocol, out: TBinaryProtocol) -> None:
        name, _, call = come.readMessageBegin()
        if name == "greet":
            whom = read_text(come, 1)
            out.writeMessageBegin(name, TMessageType.REPLY, call)
            write_text(out, 0, f"Hello, {whom}!")
        else:
            come.skip(TType.STRUCT)
            out.writeMessageBegin(name, TMessageType.EXCEPTION, call)
            TApplicationException(TApplicationException.UNKNOWN_METHOD, f"there is no {name}").write(out)
        come.readMessageEnd()
        out.writeMessageEnd()
        out.trans.flush()


class Client:
    """Makes calls, as the generated ``Greeter.Client``."""

    def __init__(self, both: TBinaryProtocol) -> None:
        self._both = both

    def greet(self, name: str) -> str:
        self._both.writeMessageBegin("greet", TMessageType.CALL, 0)
        write_text(self._both, 1, name)
        self._both.writeMessageEnd()
        self._both.trans.flush()
        _, kind, _ = self._both.readMessageBegin()
        if kind == TMessageType.EXCEPTION:
            failure = TApplicationException()
            failure.read(self._both)
            raise failure
        answer = read_text(self._both, 0)
        self._both.readMessageEnd()
        return answer


def serve(incoming: sync.Incoming) -> None:
    # In a thread for each sender. HTTP requests are refused by being left unanswered.
    if isinstance(incoming, sync.IncomingConnect):
        both = protocol(incoming.accept())
        with contextlib.closing(both.trans), contextlib.suppress(TTransportException):
            while True:
                Processor().process(both, both)


def listen() -> None:
    with sync.listen() as listener:
        print("online", flush=True)
        listener.serve(serve)


def say(names: list[str]) -> None:
    both = protocol(sync.connect())
    with contextlib.closing(both.trans):
        client = Client(both)
        for name in names:
            print(client.greet(name))


match sys.argv[1:]:
    case ["listen"]:
        listen()
    case ["say", *names]:
        say(names)
    case _:
        sys.exit("usage: thrift-hello.py listen | thrift-hello.py say NAME...")
