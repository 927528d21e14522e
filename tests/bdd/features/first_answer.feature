Feature: The first answer
  A person with one machine starts home mode, asks a model and reads the answer as it is made.

  Background:
    Given a running home

  Scenario: An answer is streamed
    When I submit "Hello" to "tiny-chat"
    Then the command ends with code 0
    And its output is "Hello! I am a tiny language model. How can I help you today?"
    And the newest job is "completed"

  Scenario: An unknown model is refused
    When I submit "Hello" to "tiny-cat"
    Then the command ends with code 3
    And its output is ""
    And it names the model "tiny-chat" in one line
    And there is no job

  Scenario: A waiting job is cancelled
    Given a worker that has answered once and is frozen now
    And a job that asks "Count to ten"
    And a waiting job that asks "Hello"
    When I cancel the waiting job
    Then the command ends with code 0
    And the waiting job is "cancelled"
    When the worker is thawed
    Then the first job answers "1, 2, 3, 4, 5, 6, 7, 8, 9, 10."
