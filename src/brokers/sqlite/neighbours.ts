/**
 * Consumers of one file in this process. The file tells of other processes' commits only; what is published or given back
 * here is told here, at the moment it is handed to the file: a claim that is asked behind it shares its commit and finds it.
 */

export interface Neighbour {
  /** Perhaps one of these queues has a message; undefined: any may. */
  hint(queues: ReadonlySet<string> | undefined): void;
}

/** By the path of the file. */
const streets = new Map<string, Set<Neighbour>>();

export function moveIn(path: string, neighbour: Neighbour): void {
  const street = streets.get(path);
  if (street === undefined) streets.set(path, new Set([neighbour]));
  else street.add(neighbour);
}

export function moveOut(path: string, neighbour: Neighbour): void {
  const street = streets.get(path);
  if (street?.delete(neighbour) === true && street.size === 0) streets.delete(path);
}

export function hint(path: string, queues?: ReadonlySet<string>): void {
  const street = streets.get(path);
  if (street === undefined || queues?.size === 0) return;
  for (const neighbour of street) neighbour.hint(queues);
}
