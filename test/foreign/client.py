"""A foreign client: stubs made from proto/ by Debian's grpc-tools, nothing of ours but the files.

Reads one JSON object from standard input, drives features, create and policy, and prints one JSON
object with what the servers answered. Byte strings travel as hex.
"""

import json
import os
import subprocess
import sys
import tempfile

job = json.load(sys.stdin)

stubs = tempfile.mkdtemp(dir=job["folder"])
protos = []
for folder, _, files in os.walk(job["proto"]):
    protos += [os.path.join(folder, f) for f in files if f.endswith(".proto")]
subprocess.run(
    [sys.executable, "-m", "grpc_tools.protoc", "-I", job["proto"],
     "--python_out", stubs, "--grpc_python_out", stubs, *sorted(protos)],
    check=True,
)
sys.path.insert(0, stubs)

import grpc  # noqa: E402
from cvmp.v1 import platform_pb2, platform_pb2_grpc, policy_pb2, policy_pb2_grpc  # noqa: E402

with open(job["ca"], "rb") as file:
    credentials = grpc.ssl_channel_credentials(file.read())


def channel(address):
    return grpc.secure_channel(address, credentials)


def bearer(token):
    return [("authorization", "Bearer " + token)]


def refusal(call):
    """What a refused call answers: gRPC status name and message."""
    try:
        call()
    except grpc.RpcError as error:
        return {"status": error.code().name, "message": error.details()}
    return {"status": "OK", "message": ""}


out = {}
platform = platform_pb2_grpc.CvmServiceStub(channel(job["platform"]))
policies = policy_pb2_grpc.PolicyServiceStub(channel(job["key_server"]))
tenant_p, tenant_k = bearer(job["platform_token"]), bearer(job["key_server_token"])

features = platform.CVMFeature(
    platform_pb2.CVMFeatureRequest(nonce=b"python"), metadata=tenant_p)
out["nonce"] = features.nonce.decode()
out["tees"] = [f.tee for f in features.tee_features]
out["without_token"] = refusal(
    lambda: platform.CVMFeature(platform_pb2.CVMFeatureRequest()))
out["wrong_field"] = refusal(
    lambda: platform.CVMGet(platform_pb2.CVMGetRequest(cvm=""), metadata=tenant_p))

answer = policies.SetKeyPolicy(
    policy_pb2.SetKeyPolicyRequest(signed_policy=bytes.fromhex(job["signed_policy"])),
    metadata=tenant_k)
out["policy_accepted"] = answer.policy_response.accepted
out["policy_version"] = answer.policy_response.version
read = policies.GetKeyPolicy(
    policy_pb2.GetKeyPolicyRequest(policy_id=job["policy_id"]), metadata=tenant_k)
out["policy_stored_as_received"] = read.signed_policy.hex() == job["signed_policy"]

request = platform_pb2.CVMCreateRequest(
    request_id=bytes.fromhex(job["request_id"]),
    feature_set_id=features.feature_set_id,
    tee=platform_pb2.cvmp_dot_v1_dot_evidence__pb2.TEE_TYPE_SEV_SNP,
    name=job["name"],
    image_digest=features.images[0].digest,
    config_document=bytes.fromhex(job["config_document"]),
    key_server_address=job["key_server"],
)
created = platform.CVMCreate(request, metadata=tenant_p)
again = platform.CVMCreate(request, metadata=tenant_p)
out["created"] = [c.name for c in created.cvms]
out["idempotent"] = [c.cvm_id for c in created.cvms] == [c.cvm_id for c in again.cvms]

# A CVM is defined first; its tenant starts it when it has seen what would be launched.
platform.CVMStart(platform_pb2.CVMStartRequest(cvm=job["name"]), metadata=tenant_p)
for update in platform.CVMWatch(
        platform_pb2.CVMWatchRequest(cvm=job["name"]), metadata=tenant_p, timeout=60):
    if update.cvm.agent.phase in (5, 6, 7):  # delivered, refused, failed
        out["agent_phase"] = update.cvm.agent.phase
        out["agent_code"] = update.cvm.agent.code
        break

print(json.dumps(out))
