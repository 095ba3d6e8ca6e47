"""Runs the driver pyclients.py with the commands of a later issue (SORT, THREAD, GETQUOTAROOT) answered "NO" on the client's side, where
imaplib would end the whole run at the server's BAD. Their checks fail, all the others run."""
import imaplib
import runpy
import sys


def later(method):
    def call(self, *args):
        try:
            return method(self, *args)
        except self.error:
            return "NO", [b"later"]

    return call


for name in ("sort", "thread", "getquotaroot"):
    setattr(imaplib.IMAP4, name, later(getattr(imaplib.IMAP4, name)))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
