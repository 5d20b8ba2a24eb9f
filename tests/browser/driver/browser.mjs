// Runs the Chromium that all tests share until it is terminated; prints its address.
// node browser.mjs /usr/bin/chromium
import { chromium } from "playwright-core";

// Chromium has no sandbox for root, and containers have little shared memory.
const args = ["--no-sandbox", "--disable-dev-shm-usage"];
const server = await chromium.launchServer({ executablePath: process.argv[2], args });
console.log(server.wsEndpoint());
