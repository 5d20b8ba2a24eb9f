// Builds the page of the chat example into ../static. The result is committed, so the example runs
// without Node; CI builds it again and fails on any difference. Hence fixed file names, exact
// versions in package.json and nothing in the output that depends on the machine or the clock.
//
//   npm ci && npm run build       build ../static
//   npm run dev                   the page with hot reload; /api goes to the server on port 8000
import { readFileSync } from "node:fs";
import react from "@vitejs/plugin-react";
import { defaultClientConditions, defineConfig, type Plugin } from "vite";

/** The license of the font; `build.license` covers only what is imported as code. */
const fontLicense: Plugin = {
  name: "font-license",
  apply: "build",
  generateBundle() {
    const source = readFileSync("node_modules/@fontsource-variable/inter/LICENSE", "utf8");
    this.emitFile({ type: "asset", fileName: "assets/inter-license.txt", source });
  },
};

export default defineConfig({
  base: "./",
  plugins: [react(), fontLicense],
  // The transport is a link to its folder in this repository: read its source, with the `ai` of this page.
  resolve: { conditions: ["@monostream/source", ...defaultClientConditions], preserveSymlinks: true },
  server: {
    proxy: {
      "/api": {
        target: "http://127.0.0.1:8000",
        // A server that dies leaves its responses open otherwise, and the page waits.
        configure: (proxy) => proxy.on("proxyRes", (from, _, to) => from.on("close", () => from.complete || to.destroy())),
      },
    },
  },
  build: {
    outDir: "../static",
    emptyOutDir: true,
    modulePreload: false,
    chunkSizeWarningLimit: 1000,
    license: { fileName: "assets/licenses.md" },
    rolldownOptions: {
      input: { app: "index.html", stock: "stock/index.html" },
      output: {
        entryFileNames: "assets/[name].js",
        chunkFileNames: "assets/[name].js",
        assetFileNames: "assets/[name][extname]",
      },
    },
  },
});
