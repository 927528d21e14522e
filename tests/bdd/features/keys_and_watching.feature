Feature: Keys and watching
  A person hands out keys, takes them back, and reads answers whenever it suits.

  Background:
    Given a running home

  Scenario: A key opens the door until it is revoked
    Given a key called "laptop"
    When the holder of the key submits "Hello" to "tiny-chat"
    Then the command ends with code 0
    And its output is "Hello! I am a tiny language model. How can I help you today?"
    When I revoke the key "laptop"
    And the holder of the key submits "Hello" to "tiny-chat"
    Then the command ends with code 4
    And its output is ""

  Scenario: A job of one key does not exist for another
    Given a job of mine that has ended
    And a key called "guest"
    When the holder of the key watches the job
    Then the command ends with code 3
    And its output is ""

  Scenario: An answer is read again, and on from its middle
    Given a job of mine that has ended
    When I watch the job
    Then the command ends with code 0
    And its output is "Hello! I am a tiny language model. How can I help you today?"
    When I watch the events of the job behind event 2
    Then the command ends with code 0
    And the events begin with 3 and end with "end"
