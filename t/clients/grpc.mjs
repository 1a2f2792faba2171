// SPDX-License-Identifier: GPL-2.0-or-later
// One build from its creation to its end by @grpc/grpc-js:  grpc.mjs PROTO-DIR HOST:PORT REF [CA [CERT KEY]]
// Prints what connect.mjs prints.
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";

const [dir, address, ref, ca, cert, key] = process.argv.slice(2);
const definition = loader.loadSync("builder.proto", { includeDirs: [dir], longs: String, enums: String, defaults: true });
const { BuilderService } = grpc.loadPackageDefinition(definition).builder.v1;
const read = (file) => (file ? readFileSync(file) : null);
const credentials = ca ? grpc.credentials.createSsl(read(ca), read(key), read(cert)) : grpc.credentials.createInsecure();
const client = new BuilderService(address, credentials);
const metadata = new grpc.Metadata();
metadata.set("x-tenant-id", "test");
const call = (name, request) => promisify(client[name].bind(client))(request, metadata);

const { buildId } = await call("createBuild", { config: { source: { dockerImage: { imageUri: ref } }, labels: { from: "grpc-js" } } });
console.log("created", /^build_[0-9A-Z]{26}$/.test(buildId));

let lines = 0;
for await (const entry of client.streamBuildLogs({ buildId, follow: true }, metadata)) lines += entry.message.length > 0 ? 1 : 0;
console.log("followed", lines > 3);

const { build } = await call("getBuild", { buildId });
console.log("got", build.state, BigInt(build.rootfsSizeBytes) > 0n, build.config.labels.from, build.errorMessage);
const listed = await call("listBuilds", { pageSize: 1 });
console.log("listed", listed.builds[0].buildId === buildId);
try {
  await call("getBuild", { buildId: "build_00000000000000000000000000" });
} catch (e) {
  console.log("stranger", Object.keys(grpc.status).find((name) => grpc.status[name] === e.code));
}
console.log("artifact", buildId, build.rootfsChecksum);
await new Promise((resolve) => process.stdin.once("data", resolve));
console.log("deleted", (await call("deleteBuild", { buildId })).success);
process.exit(0);
