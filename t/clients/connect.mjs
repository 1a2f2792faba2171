// SPDX-License-Identifier: GPL-2.0-or-later
// One build from its creation to its end by @connectrpc/connect-node:
//   connect.mjs SET URL connect|grpc|grpcweb 1.1|2 json|proto REF [CA [CERT KEY]]
// SET: a FileDescriptorSet of builder.proto with its imports. Prints one line for each step.
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { readFileSync } from "node:fs";

const [set, baseUrl, protocol, httpVersion, codec, ref, ca, cert, key] = process.argv.slice(2);
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(set)));
const service = registry.getService("builder.v1.BuilderService");
const states = registry.getEnum("builder.v1.BuildState");
const state = (number) => states.value[number].name;

const tenant = (next) => async (request) => {
  request.header.set("x-tenant-id", "test");
  return next(request);
};
const read = (file) => (file ? readFileSync(file) : undefined);
const transports = { connect: createConnectTransport, grpc: createGrpcTransport, grpcweb: createGrpcWebTransport };
const options = { baseUrl, useBinaryFormat: codec === "proto", interceptors: [tenant], nodeOptions: { ca: read(ca), cert: read(cert), key: read(key) } };
if (protocol !== "grpc") options.httpVersion = httpVersion;
const client = createClient(service, transports[protocol](options));

const created = await client.createBuild({
  config: { source: { sourceType: { case: "dockerImage", value: { imageUri: ref } } }, labels: { from: "connect-node" } },
});
const { buildId } = created;
console.log("created", /^build_[0-9A-Z]{26}$/.test(buildId));

let lines = 0;
for await (const entry of client.streamBuildLogs({ buildId, follow: true })) lines += entry.message.length > 0 ? 1 : 0;
console.log("followed", lines > 3);

const { build } = await client.getBuild({ buildId });
console.log("got", state(build.state), build.rootfsSizeBytes > 0n, build.config.labels.from, build.errorMessage);
const listed = await client.listBuilds({ pageSize: 1 });
console.log("listed", listed.builds[0].buildId === buildId);
try {
  await client.getBuild({ buildId: "build_00000000000000000000000000" });
} catch (e) {
  console.log("stranger", Code[ConnectError.from(e).code]);
}
console.log("artifact", buildId, build.rootfsChecksum);
await new Promise((resolve) => process.stdin.once("data", resolve)); // the caller has fetched it
console.log("deleted", (await client.deleteBuild({ buildId })).success);
process.exit(0);
