// The whole hand-written part of a client: the access token, and refusals as exceptions.
import { client } from "./generated/client.gen.js";
import type { Problem } from "./generated/index.js";

/** A refusal: `problem.code` says which, `problem.detail` says it to a person. */
export class Refused extends Error {
  constructor(readonly problem: Problem) {
    super(`${problem.instance}: ${problem.status} ${problem.code}: ${problem.detail} ${JSON.stringify(problem.errors ?? [])}`);
  }
}

export interface Tokens {
  access?: string;
}

/** Point every operation at a server; each signs in with what `tokens` holds at that moment. */
export function connect(baseUrl: string, tokens: Tokens, watch: (call: string, status: number) => void): void {
  client.setConfig({ baseUrl, auth: () => tokens.access });
  client.interceptors.response.use((response, request) => {
    watch(`${request.method} ${new URL(request.url).pathname}`, response.status);
    return response;
  });
}

interface Answer<Data> {
  data: Data | undefined;
  error: Problem | undefined;
}

/** The data of an answer. Throws: Refused. */
export async function need<Data>(call: Promise<Answer<Data>>): Promise<Data> {
  const { data, error } = await call;
  if (error !== undefined) throw new Refused(error);
  if (data === undefined) throw new Error("the answer is empty");
  return data;
}

/** The refusal of a call that must be refused. */
export async function refusal(call: Promise<Answer<unknown>>): Promise<Problem> {
  const { data, error } = await call;
  if (error === undefined) throw new Error(`this was expected to be refused: ${JSON.stringify(data)}`);
  return error;
}
