// deno-lint-ignore-file no-console
/**
 * `deno task compile`: makes `dist/klb`, one executable, with klb's fixed permission list.
 *
 * `deno compile` puts the program behind `denort`, a Deno without tools, which it downloads. Where
 * that is not possible it can be given: see {@link howToGive}.
 *
 * @module
 */

const root = new URL("..", import.meta.url).pathname;
const output = `${root}dist/klb`;

/**
 * All klb may do, whatever it is asked. FFI cannot be scoped to a library (pointers need all of it),
 * and an IPv6 group is bound with its interface's name, so both are whole; nothing runs, nothing
 * is written.
 */
export const permissions: readonly string[] = [
  "--no-prompt",
  "--allow-ffi",
  "--allow-read",
  "--allow-net",
  "--allow-env=NOTIFY_SOCKET,JOURNAL_STREAM",
];

function target(): string {
  return `${Deno.build.arch}-unknown-linux-gnu`;
}

/** What to do when denort cannot be downloaded. */
function howToGive(): string {
  const version = Deno.version.deno;
  const archive = `denort-${target()}.zip`;
  return [
    `klb was not compiled: the runtime denort ${version} for ${target()} is missing, and cannot be`,
    `downloaded from here. Give it in one of two ways, then run the same command again:`,
    ``,
    `  1. take ${archive} from the release v${version} of Deno, unpack it, and name the file in it:`,
    `       DENORT_BIN=/path/to/denort npx --yes deno@${version} task compile`,
    `  2. put the archive itself where Deno keeps its downloads:`,
    `       ${denoDirectory()}/dl/release/v${version}/${archive}`,
    ``,
    `Until then klb runs from its sources: deno run ${permissions.join(" ")} main.ts run`,
  ].join("\n");
}

function denoDirectory(): string {
  return Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME") ?? "~"}/.cache/deno`;
}

if (import.meta.main) {
  const { success, code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["compile", "--frozen", ...permissions, "--output", output, "main.ts"],
    cwd: root,
    stdout: "inherit",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).output();
  const said = new TextDecoder().decode(stderr);
  if (success) {
    console.log(`made ${output}`);
  } else if (said.includes("denort")) {
    console.error(`${said.trimEnd()}\n\n${howToGive()}`);
    Deno.exit(69);
  } else {
    console.error(said.trimEnd());
    Deno.exit(code);
  }
}
