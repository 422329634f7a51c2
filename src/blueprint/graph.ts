/** A blueprint as text for people, and in Graphviz's language. The order shown is the order of the start. */
import type { AnyStep } from "./step.ts";

export function drawText(blueprint: string, order: readonly AnyStep[]): string {
  const width = Math.max(0, ...order.map((step) => step.name.length));
  const digits = String(order.length).length;
  const lines = order.map((step, i) => {
    const needs = needsOf(step);
    const notes = [needs.length > 0 ? `needs ${needs.join(", ")}` : "", step.last === true ? "last" : ""];
    const note = notes.filter((each) => each !== "").join("; ");
    return `  ${String(i + 1).padStart(digits)}. ${step.name.padEnd(width)}  ${note}`.trimEnd();
  });
  return [`${blueprint}:`, ...lines].join("\n");
}

/** An arrow goes from a step to what it needs. What is given, or of an outer blueprint, is drawn dashed. */
export function drawDot(blueprint: string, order: readonly AnyStep[]): string {
  const own = new Set(order.map((step) => step.name));
  const others = new Set(order.flatMap(needsOf).filter((name) => !own.has(name)));
  const lines = [
    ...order.map((step) => `  ${quote(step.name)}${step.last === true ? " [peripheries=2]" : ""};`),
    ...[...others].map((name) => `  ${quote(name)} [style=dashed];`),
    ...order.flatMap((step) => needsOf(step).map((need) => `  ${quote(step.name)} -> ${quote(need)};`)),
  ];
  return [`digraph ${quote(blueprint)} {`, "  rankdir=BT;", "  node [shape=box];", ...lines, "}"].join("\n");
}

function needsOf(step: AnyStep): string[] {
  return [...new Set(Object.values(step.needs ?? {}).map((ref) => ref.name))];
}

function quote(name: string): string {
  return `"${name.replace(/[\\"]/g, "\\$&")}"`;
}
