/** `typ` of a signed PolicyResponse: nothing else that the Key Server signs can stand in for one. */
export const policyResponseType = 'application/cvmp-policy-response+protobuf';
