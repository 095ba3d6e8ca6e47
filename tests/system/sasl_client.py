"""SASL mechanisms as a client computes them, over any exchange: step(data) sends bytes and answers with the next challenge."""
import base64
import hashlib
import hmac
import re


class Over(Exception):
    """The server has decided in the middle: args[0] is its answer."""


def md5(data):
    return hashlib.md5(data).digest()


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


class Scram:
    """RFC 5802. first() and final(challenge) make messages; signature(data) checks the server's proof."""

    def __init__(self, user, password, digest="sha1", header=b"n,,", binding=b"", nonce=b"fyko+d2lbbFgONRv9qkxdawL"):
        self.digest, self.header, self.binding, self.nonce = digest, header, binding, nonce
        self.password = password.encode()
        self.bare = b"n=" + user.encode().replace(b"=", b"=3D").replace(b",", b"=2C") + b",r=" + nonce
        self.server_first = None

    def first(self):
        return self.header + self.bare

    def final(self, challenge):
        self.server_first = challenge
        at = dict(part.split(b"=", 1) for part in challenge.split(b","))
        assert at[b"r"].startswith(self.nonce) and len(at[b"r"]) > len(self.nonce) + 15
        salted = hashlib.pbkdf2_hmac(self.digest, self.password, base64.b64decode(at[b"s"]), int(at[b"i"]))
        without = b"c=" + base64.b64encode(self.header + self.binding) + b",r=" + at[b"r"]
        message = b",".join([self.bare, challenge, without])
        key = hmac.digest(salted, b"Client Key", self.digest)
        proof = xor(key, hmac.digest(hashlib.new(self.digest, key).digest(), message, self.digest))
        self.server_signature = hmac.digest(hmac.digest(salted, b"Server Key", self.digest), message, self.digest)
        return without + b",p=" + base64.b64encode(proof)

    def proven(self, data):
        return data == b"v=" + base64.b64encode(self.server_signature)


def cram_md5(user, password, challenge):
    return user.encode() + b" " + hmac.digest(password.encode(), challenge, "md5").hex().encode()


class Digest:
    """RFC 2831, qop=auth."""

    def __init__(self, user, realm, password, uri=b"imap/localhost", authzid=None, nc=b"00000001", **more):
        self.user, self.realm, self.password = user.encode(), realm.encode(), password.encode()
        self.uri, self.authzid, self.nc, self.more = uri, authzid, nc, more

    def hash(self, a2):
        a1 = md5(b":".join([self.user, self.realm, self.password])) + b":" + self.nonce + b":c" + (b":" + self.authzid if self.authzid else b"")
        return md5(b":".join([md5(a1).hex().encode(), self.nonce, self.nc, b"c", b"auth", md5(a2).hex().encode()])).hex().encode()

    def answer(self, challenge):
        self.nonce = re.search(rb'nonce="([^"]+)"', challenge)[1]
        parts = {"charset": b"utf-8", "username": b'"' + self.user.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"', "realm": b'"' + self.realm + b'"',
                 "nonce": b'"' + self.nonce + b'"', "nc": self.nc, "cnonce": b'"c"', "digest-uri": b'"' + self.uri + b'"',
                 "response": self.hash(b"AUTHENTICATE:" + self.uri), "qop": b"auth"}
        if self.authzid:
            parts["authzid"] = b'"' + self.authzid + b'"'
        parts.update(self.more)
        return b",".join(name.encode() + b"=" + value for name, value in parts.items() if value is not None)

    def proven(self, data):
        return data == b"rspauth=" + self.hash(b":" + self.uri)
