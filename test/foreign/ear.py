"""Reads an EAR as a JWT, and makes one, with nothing of CVMP: Python's json and cryptography.

verify TOKEN KEY.pem   prints the claims where the signature verifies
make TOKEN KEY.pem     writes a result of another verifier, and its public key
"""
import base64
import json
import sys
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

HASHES = {"ES256": (hashes.SHA256(), 32), "ES384": (hashes.SHA384(), 48)}


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def verify(token, key_file):
    header, payload, signature = open(token).read().split(".")
    hash_, size = HASHES[json.loads(decode(header))["alg"]]
    raw = decode(signature)
    assert len(raw) == 2 * size
    r, s = int.from_bytes(raw[:size], "big"), int.from_bytes(raw[size:], "big")
    key = serialization.load_pem_public_key(open(key_file, "rb").read())
    signed = f"{header}.{payload}".encode()
    key.verify(utils.encode_dss_signature(r, s), signed, ec.ECDSA(hash_))
    print(decode(payload).decode())


def make(token, key_file):
    key = ec.generate_private_key(ec.SECP256R1())
    claims = {
        "eat_profile": "tag:github.com,2023:veraison/ear",
        "iat": 1780272000,
        "ear.verifier-id": {"build": "N/A", "developer": "https://veraison-project.org"},
        "eat_nonce": base64.b64encode(bytes(range(60, 124))).decode(),
        "submods": {
            "cpu0": {
                "ear.status": "affirming",
                "ear.trustworthiness-vector": {
                    "configuration": 2, "executables": 3, "file-system": 0, "hardware": 2,
                    "instance-identity": 0, "runtime-opaque": 0, "sourced-data": 0,
                    "storage-opaque": 0,
                },
                "ear.appraisal-policy-id": "policy:default",
                "ear.veraison.annotated-evidence": {"init_data": "00"},
            }
        },
    }
    parts = [{"alg": "ES256", "typ": "JWT"}, claims]
    signed = ".".join(encode(json.dumps(part).encode()) for part in parts)
    r, s = utils.decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    open(token, "w").write(f"{signed}.{encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}")
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    open(key_file, "wb").write(pem)


{"verify": verify, "make": make}[sys.argv[1]](*sys.argv[2:])
