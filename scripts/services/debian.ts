/**
 * Debian packages, where they may be installed: as root, on a Debian or a child of it. Set LOVAGE_TEST_INSTALL=0
 * to be asked nothing of the kind.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";

export function mayInstall(): boolean {
  return (
    process.getuid?.() === 0 &&
    existsSync("/etc/debian_version") &&
    existsSync("/usr/bin/apt-get") &&
    process.env.LOVAGE_TEST_INSTALL !== "0"
  );
}

/**
 * A package that brings a server would start it: policy-rc.d forbids that for as long as the installation runs,
 * where the machine has no policy of its own. The lists are only fetched when the packages are not to be had
 * without: they are missing on a new machine, and old ones name versions that are gone.
 */
const INSTALL = `
policy=/usr/sbin/policy-rc.d
trap 'exit 1' INT TERM HUP
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\\nexit 101\\n' > "$policy"
  chmod 755 "$policy"
fi
install() {
  apt-get install --yes --no-install-recommends -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@"
}
install "$@" || { apt-get update && install "$@"; }
`;

/** Answers undefined when done, else the last lines of what apt-get said. Whether the package works is the caller's look. */
export async function installDebian(packages: readonly string[]): Promise<string | undefined> {
  const child = spawn("/bin/sh", ["-c", INSTALL, "install", ...packages], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C.UTF-8" },
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
  }
  const code = await new Promise<number | null>((resolve) => {
    child.once("error", () => resolve(null));
    child.once("close", resolve);
  });
  return code === 0 ? undefined : said.trim().split("\n").slice(-5).join("\n");
}
