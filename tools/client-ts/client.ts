// The whole hand-written part of a client: the access token, and refusals as exceptions.
import createClient, { type Client, type Middleware } from "openapi-fetch";
import type { components, paths } from "./generated/api.js";

export type Shapes = components["schemas"];
export type Api = Client<paths>;

/** A refusal: `problem.code` says which, `problem.detail` says it to a person. */
export class Refused extends Error {
  constructor(
    readonly problem: Shapes["Problem"],
    readonly call: string,
  ) {
    super(`${call}: ${problem.status} ${problem.code}: ${problem.detail} ${JSON.stringify(problem.errors ?? [])}`);
  }
}

export interface Tokens {
  access?: string;
  refresh?: string;
}

export function connect(baseUrl: string, tokens: Tokens, watch: (call: string, status: number) => void): Api {
  const api = createClient<paths>({ baseUrl });
  const session: Middleware = {
    onRequest({ request }) {
      if (tokens.access !== undefined) request.headers.set("Authorization", `Bearer ${tokens.access}`);
      return request;
    },
    onResponse({ request, response }) {
      watch(`${request.method} ${new URL(request.url).pathname}`, response.status);
    },
  };
  api.use(session);
  return api;
}

interface Answer<Data> {
  data?: Data | undefined;
  error?: Shapes["Problem"] | undefined;
  response: Response;
}

/** The data of an answer. Throws: Refused. */
export async function need<Data>(call: Promise<Answer<Data>>): Promise<Exclude<Data, undefined>> {
  const { data, error, response } = await call;
  if (error !== undefined) throw new Refused(error, new URL(response.url).pathname);
  return data as Exclude<Data, undefined>;
}

/** The refusal of a call that must be refused. */
export async function refusal(call: Promise<Answer<unknown>>): Promise<Shapes["Problem"]> {
  const { error, response } = await call;
  if (error === undefined) throw new Error(`${response.url} was expected to be refused, and answered ${response.status}`);
  return error;
}
