/** The app of the pool suite, for pools that load a file. */
import { Lovage } from "lovage";
import { addPoolTasks } from "../../../src/testing/pool-tasks.ts";

export const app = new Lovage("pool-tasks");
addPoolTasks(app);
