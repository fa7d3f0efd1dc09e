// What stays while a reader goes from study to study: made once by the page, handed down to each study.

import { ViewState } from "../viewer/state";
import { StudyCache } from "./loading";

export class Desk {
  /** One viewer for all studies: its NiiVue, and with it the graphics card's memory, is used again. */
  readonly view = new ViewState();
  readonly cache = new StudyCache();
}
