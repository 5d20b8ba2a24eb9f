// Runs the tests with each release of `ai` that package.json names, or with those named as arguments: `node test/releases.mjs ai-5`.
// Checks first that the types of the source fit the release.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const { devDependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
const RELEASES = Object.keys(devDependencies).filter((name) => /^ai-\d/.test(name));

function run(release, command, ...parameters) {
  const env = { ...process.env, NODE_OPTIONS: "", AI_RELEASE: release };
  const { status } = spawnSync(command, parameters, { cwd: ROOT, stdio: "inherit", env });
  if (status !== 0) process.exit(status ?? 1);
}

for (const release of process.argv.length > 2 ? process.argv.slice(2) : RELEASES) {
  if (!RELEASES.includes(release)) throw new Error(`${release} is none of ${RELEASES}`);
  const folder = mkdtempSync(join(ROOT, "node_modules", ".types-"));
  try {
    const paths = { ai: [join(ROOT, "node_modules", release)] };
    const config = { extends: "../../tsconfig.json", compilerOptions: { paths }, include: ["../../src"] };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
    run(release, "npx", "tsc", "--project", folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
  const resolving = `data:text/javascript,${encodeURIComponent(`
    import { register } from "node:module";
    const hook = "export const resolve = (name, context, next) => next(name === 'ai' ? '${release}' : name, context);";
    register("data:text/javascript," + encodeURIComponent(hook));`)}`;
  run(release, process.execPath, "--import", resolving, "--test", "--test-reporter=spec", "test/transport.test.mjs");
}
