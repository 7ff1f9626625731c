# A shop of one page, and a stand-in for any web program: it needs PostgreSQL for
# its orders and redis for its counter, and says on /ready whether it has both.
import http.server
import json
import os
import socket
import subprocess
import sys

POSTGRES = ["psql", "-h", "127.0.0.1", "-p", os.environ["POSTGRES_PORT"], "-U", os.environ["POSTGRES_USER"],
            "-d", "postgres", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c"]
REDIS = ("127.0.0.1", int(os.environ["REDIS_PORT"]))


def sql(text):
    return subprocess.run(POSTGRES + [text], check=True, capture_output=True, text=True, timeout=5).stdout.strip()


def redis(*words):
    request = f"*{len(words)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)
    with socket.create_connection(REDIS, 2) as s:
        s.sendall(request.encode())
        answer = s.makefile().readline().strip()
    if answer[:1] not in ":+":
        raise OSError(f"redis says {answer}")
    return answer[1:]


class Shop(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            if self.path == "/ready":
                body = {"redis": redis("PING"), "orders": sql("select count(*) from orders")}
            else:
                body = {"visit": redis("INCR", "visits"), "order": sql("insert into orders default values returning id").split()[0]}
            self.answer(200, body)
        except (OSError, subprocess.SubprocessError) as e:
            self.answer(503, {"error": str(e).splitlines()[0]})

    def answer(self, status, body):
        data = json.dumps(body).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


print("serving on port", os.environ["PORT"], flush=True)
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Shop)
try:
    server.serve_forever()
except KeyboardInterrupt:
    sys.exit(0)
