/**
 * JSON of an answer as tests look into it, `answer.body.properties.state`: what is not there fails the assertion
 * that wants it, and the shapes are what is tested. The one place where the type is switched off.
 */
// oxlint-disable-next-line typescript/no-explicit-any -- every answer has another shape; what is missing fails the assertion that wants it
export type AnyJson = any;
