/** An app that cannot be loaded: it throws. */
import { missingSetting } from "./pool-broken-helper.ts";

export const app = missingSetting("SHOP_URL");
