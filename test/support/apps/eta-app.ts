/** The app of the eta messages: a task that nobody lives to see. */
import { Lovage } from "lovage";

export const app = new Lovage("eta");

app.task("eta.later", (n: number, text: string) => [n, text]);
