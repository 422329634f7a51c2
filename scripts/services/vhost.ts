/** Virtual hosts of RabbitMQ, made and removed by the node's own rabbitmqctl: a namespace of queues and connections each. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

/** How the node is commanded. In the environment of tests: JSON in LOVAGE_TEST_RABBITMQCTL. */
export interface Rabbitmqctl {
  readonly command: string;
  readonly env: Readonly<Record<string, string>>;
}

/** One rabbitmqctl command (about 0.4 s each); answers its output. @throws {Error} with what it said on standard error */
export async function rabbitmqctl(control: Rabbitmqctl, ...args: string[]): Promise<string> {
  const { stdout } = await run(control.command, ["--quiet", ...args], {
    env: { ...process.env, ...control.env },
    timeout: 60_000,
  });
  return stdout;
}

/** Make the vhost, with all rights for `user`. */
export async function addVhost(control: Rabbitmqctl, vhost: string, user: string): Promise<void> {
  await rabbitmqctl(control, "add_vhost", vhost);
  await rabbitmqctl(control, "set_permissions", "-p", vhost, user, ".*", ".*", ".*");
}

/** Remove the vhost with all queues, messages and connections in it. One that is gone is removed. */
export async function deleteVhost(control: Rabbitmqctl, vhost: string): Promise<void> {
  try {
    await rabbitmqctl(control, "delete_vhost", vhost);
  } catch (error) {
    if (!(await listVhosts(control)).includes(vhost)) return;
    throw error;
  }
}

export async function listVhosts(control: Rabbitmqctl): Promise<string[]> {
  return lines(await rabbitmqctl(control, "list_vhosts", "--no-table-headers", "name"));
}

/** The queues of the vhost that outlive their connection. */
export async function listQueues(control: Rabbitmqctl, vhost: string): Promise<string[]> {
  return lines(await rabbitmqctl(control, "list_queues", "-p", vhost, "--no-table-headers", "name"));
}

/** The same server and user, with the vhost in place of the URL's own. */
export function urlOfVhost(url: string, vhost: string): string {
  const changed = new URL(url);
  changed.pathname = `/${encodeURIComponent(vhost)}`;
  return changed.href;
}

function lines(text: string): string[] {
  return text.split("\n").filter((line) => line !== "");
}
