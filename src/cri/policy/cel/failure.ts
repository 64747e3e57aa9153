/** Why an expression failed while it ran, in words that hold nothing of the message that it ran on. */
export class ExpressionFailure extends Error {
  override readonly name = "ExpressionFailure";
}
