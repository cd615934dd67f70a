"""A gRPC echo, without generated code: messages are bytes.

`grpc_echo.py serve HOST:PORT` says "ready" and serves; `grpc_echo.py ask HOST:PORT` makes every kind of call, and
says what each came to.
"""

import sys
from concurrent import futures

import grpc

OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]


def say(message, context):
    context.set_trailing_metadata((("said", str(len(message))),))
    return message


def talk(messages, _context):
    yield from messages


def refuse(_message, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "nothing of that name")


class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        return {
            "/echo/Say": grpc.unary_unary_rpc_method_handler(say),
            "/echo/Talk": grpc.stream_stream_rpc_method_handler(talk),
            "/echo/Refuse": grpc.unary_unary_rpc_method_handler(refuse),
        }.get(details.method)


def serve(at):
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), options=OPTIONS)
    server.add_generic_rpc_handlers((Echo(),))
    server.add_insecure_port(at)
    server.start()
    print("ready")
    server.wait_for_termination()


def ask(at):
    with grpc.insecure_channel(at, options=OPTIONS) as channel:
        big = bytes(range(251)) * 80_000
        answer, call = channel.unary_unary("/echo/Say").with_call(big, timeout=60)
        print("said", answer == big, dict(call.trailing_metadata())["said"])
        messages = [b"%d" % number for number in range(1000)]
        print("talked", list(channel.stream_stream("/echo/Talk")(iter(messages), timeout=60)) == messages)
        try:
            channel.unary_unary("/echo/Refuse")(b"", timeout=60)
        except grpc.RpcError as error:
            print("refused", error.code().name, error.details())


if __name__ == "__main__":
    {"serve": serve, "ask": ask}[sys.argv[1]](sys.argv[2])
