"""A bucket of Google Cloud Storage on loopback, in this process.

It has the handlers of gcp-storage-emulator, which lacks generations and preconditions, and whose server is
slow: it answers one request at a time, and writes its metadata anew after each. This one can also fail, and
disappear.
"""

import http.server
import io
import json
import logging
import threading
import time
import urllib.parse

from gcp_storage_emulator import storage
from gcp_storage_emulator.handlers import buckets
from gcp_storage_emulator.server import RequestHandler

NAME = 'bucket'
logging.getLogger('gcp_storage_emulator').setLevel(logging.CRITICAL)


class Bucket:
  """gs://bucket, from its creation to `stop`."""

  def __init__(self):
    self.storage = _Storage(use_memory_fs=True)
    buckets.create_bucket(NAME, self.storage)
    self.lock = threading.RLock()
    self.requests = 0
    self.fails_every = 0  # One of this number of requests is answered with status 503; 0: none.
    self.refuses = ''  # a path that ends like this is answered with status 403
    self.delay = 0.0  # seconds that each request waits
    self.before_write = lambda: None  # called before each request that writes or removes an object
    self._port = 0
    self.start()

  def start(self) -> None:
    """Answers requests; after `stop`, at the same address and with the same objects."""
    bucket = self

    class Handler(_Handler):
      def __init__(self, *args, **kwargs):
        self.bucket = bucket
        super().__init__(bucket.storage, *args, **kwargs)

    self._server = _Server(('127.0.0.1', self._port), Handler)
    self._port = self._server.server_port
    threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

  def stop(self) -> None:
    """Refuses connections."""
    self._server.shutdown()
    self._server.server_close()

  @property
  def environment(self) -> dict[str, str]:
    """The variables with which a process finds this bucket."""
    address = f'http://127.0.0.1:{self._port}'
    return {
      'STORAGE_EMULATOR_HOST': address,
      'TENSORSTORE_GCS_HTTP_URL': address,
      'NO_GCE_CHECK': 'true',
      'GOOGLE_AUTH_TOKEN_FOR_TESTING': 'none',
    }

  def names(self, prefix: str = '') -> list[str]:
    """The names of the objects that begin with the prefix."""
    with self.lock:
      return sorted(name for name in self.storage.objects.get(NAME, {}) if name.startswith(prefix))

  def read(self, name: str) -> bytes:
    return self.storage.get_file(NAME, name)

  def remove(self, *names: str) -> None:
    with self.lock:
      for name in names:
        self.storage.delete_file(NAME, name)


class _Refused(Exception):
  """The argument is the status."""


class _Storage(storage.Storage):
  """Nothing outlives the process, and deleted objects are gone."""

  # Of the current request: the generation that it demands, or does not want, and that of what it reads.
  expected: str | None = None
  unwanted: str | None = None
  found: str | None = None

  def create_file(self, bucket_name, file_name, content, file_obj, file_id=None):
    self._require(bucket_name, file_name)
    super().create_file(bucket_name, file_name, content, file_obj, file_id)

  def delete_file(self, bucket_name, file_name):
    self._require(bucket_name, file_name)
    self._hard_delete_file(bucket_name, file_name)

  def get_file(self, bucket_name, file_name, show_error=True):
    self._require(bucket_name, file_name)
    return super().get_file(bucket_name, file_name, show_error)

  def _require(self, bucket_name, file_name):
    self.found = self.objects.get(bucket_name, {}).get(file_name, {}).get('generation', '0')
    if self.expected not in (None, self.found):
      raise _Refused(412)
    if self.unwanted == self.found:
      raise _Refused(404 if self.found == '0' else 304)

  def _write_config_to_file(self):
    pass


class _Server(http.server.ThreadingHTTPServer):
  request_queue_size = 128
  daemon_threads = True

  def handle_error(self, request, client_address):
    """A client that is killed closes its connection."""


class _Handler(RequestHandler):
  bucket: Bucket

  def _answer(self, handle) -> None:
    body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
    self.rfile = io.BytesIO(body)
    time.sleep(self.bucket.delay)
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
    bucket = self.bucket
    with bucket.lock:
      bucket.requests += 1
      if bucket.fails_every and bucket.requests % bucket.fails_every == 0:
        self._refuse(503)
        return
      if bucket.refuses and self.path.partition('?')[0].endswith(bucket.refuses):
        self._refuse(403)
        return
      bucket.storage.expected = query.get('ifGenerationMatch', [None])[0]
      bucket.storage.unwanted = query.get('ifGenerationNotMatch', [None])[0]
      bucket.storage.found = None
      if self.command != 'GET':
        bucket.before_write()
      try:
        handle()
      except _Refused as refused:
        self._refuse(refused.args[0])
      finally:
        bucket.storage.expected = bucket.storage.unwanted = None

  def end_headers(self):
    if self.bucket.storage.found is not None:
      self.send_header('x-goog-generation', self.bucket.storage.found)
    super().end_headers()

  def _refuse(self, status: int) -> None:
    text = json.dumps({'error': {'code': status, 'message': 'refused'}})
    content = b'' if status == 304 else text.encode()
    self.send_response(status)
    self.send_header('Content-Type', 'application/json')
    self.send_header('Content-Length', str(len(content)))
    self.end_headers()
    self.wfile.write(content)

  def do_GET(self):
    self._answer(super().do_GET)

  def do_POST(self):
    self._answer(super().do_POST)

  def do_DELETE(self):
    self._answer(super().do_DELETE)

  def do_PUT(self):
    self._answer(super().do_PUT)

  def do_PATCH(self):
    self._answer(super().do_PATCH)
